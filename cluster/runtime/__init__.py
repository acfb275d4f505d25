"""What everything stands on: a Ray cluster, metrics, processes, and folders of this machine."""
