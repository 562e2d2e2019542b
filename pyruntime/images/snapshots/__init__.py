"""Root filesystems from extracted layers: overlayfs, btrfs, copies."""
