"""The execution of a build's steps: COPY, ADD and RUN, and their root filesystems."""
