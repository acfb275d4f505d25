"""What the commands and `import gallon` share: each call takes settings and a progress callback and returns a result.

Nothing here prints, asks or exits. Sentences for people, such as where the dashboard is, are log records of the loggers
below `gallon.api`.
"""
