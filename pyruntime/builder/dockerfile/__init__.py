"""The Dockerfile language, without I/O: a text becomes values that know their position.

source        the text, positions, and problems              lines         directives, continuation, here-documents
words         splitting and expanding                        instructions  the instructions as typed values
flags         --name=value                                   parse         a text as stages of instructions
arguments     ARG and its scopes                             names         the names of instructions and flags
"""
