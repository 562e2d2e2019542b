/* The stub's decoder, for the front's table of instructions. */
#define PLAN_TABLE "../front/life.h"
#include "../stub/plan.c"
