"""pocker: run containers and build images, without a daemon."""
