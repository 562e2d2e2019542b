/* The front's copy of the check of snapshots. */
#include "../snapshot/fits.c"
