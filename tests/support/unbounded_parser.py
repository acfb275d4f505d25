"""The process of `chemistry.parsing` without `chemistry.bounds`, so that RDKit really dies and stalls."""

from teacher.chemistry import bounds, parsing

if __name__ == "__main__":
    bounds.MAX_RINGS = bounds.MAX_NEIGHBOURS = 10**9
    parsing.main()
