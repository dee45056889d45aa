"""The geometry kernel: compiled ahead, free of the GIL, each part a pure function over arrays of a welded mesh."""
