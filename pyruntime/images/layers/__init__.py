"""A layer's archive (image-spec layer.md): read, checked, applied, merged; made again from what changed."""
