"""The Dockerfile language. No I/O: text comes in, values that know their place come out.

    source        text, places, and problems that show them       lines         directives, continuation, heredocs
    words         splitting and expanding                          instructions  what can stand in a line, typed
    flags         --name=value                                     parse         a text as stages of instructions
    arguments     ARG and its scopes                               names         the names that instructions have
"""
