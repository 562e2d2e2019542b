"""Sample bundles, one directory each: config.json, and the plan that it compiles to on a reference host (plan.txt)."""
