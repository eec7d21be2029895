"""Graphs whose nodes have texts or features: vectors of nodes that few labels suffice for."""
