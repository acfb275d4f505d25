"""Node classification on a graph of texts from files, some of whose nodes are enhanced."""
