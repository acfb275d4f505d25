"""Pages that people look at: self-contained HTML, with no network and nothing that runs but its own script."""
