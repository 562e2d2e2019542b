"""Layer archives (image-spec layer.md): read, verified, extracted, merged; and created from changes."""
