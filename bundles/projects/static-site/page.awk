# A text with a title in its first line, as HTML; paragraphs are separated by empty lines.
BEGIN { RS = ""; FS = "\n" }
{ gsub(/&/, "\\&amp;"); gsub(/</, "\\&lt;") }
NR == 1 { print "<!DOCTYPE html><title>" $0 "</title><h1>" $0 "</h1>"; next }
{ print "<p>" $0 "</p>" }
