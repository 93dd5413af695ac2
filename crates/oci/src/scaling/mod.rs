//! How many media nodes there are: the lock by which one master at a time asks, the function that decides and ends
//! nodes, scale-out by the masters themselves, and the search for orphans.
