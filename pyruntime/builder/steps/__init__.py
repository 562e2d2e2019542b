"""The steps of a build: COPY, ADD and RUN, and what they stand on."""
