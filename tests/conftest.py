"""What all tests share."""

from hypothesis import settings

# Wall times on a busy machine say nothing about the code, and a check should repeat.
settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")
