/* The arguments of our programs: KEY=NUMBER words in any order, then "--" and words that a program reads itself.
 *
 * Only pyruntime starts these programs, so one form is enough; see refuse_arguments for users who try them. */
#pragma once
#include <stddef.h>

/* A decimal number, at most 2^62; -1 for any other text. */
long long parse_number(const char *text);

/* Store the NUMBER of each KEY=NUMBER word at the index that KEY has in `names`, and -1 for a KEY that is not given.
 * Returns the words after "--", or an empty list if there is no "--"; NULL for a word of another form, and for a KEY
 * that `names` does not have. */
char **parse_arguments(char **argv, const char *const *names, long long *values, size_t count);

/* Print that only `product` runs this program. Returns the exit status. */
int refuse_arguments(const char *product);
