"""The default profiles of containers: seccomp and AppArmor."""
