"""Several backends behind one guard, real ones and scripted ones."""
