"""pocker: containers of images, kept by nobody but the processes that stand over them."""
