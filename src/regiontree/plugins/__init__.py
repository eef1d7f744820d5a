"""regiontree inside other programs: one package a program, loaded by that program."""
