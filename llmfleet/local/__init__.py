"""The processes of the local environment: Supervisor keeps them, these modules tell it what to keep.

Nothing here knows Pulumi; the components call `supervisor.start`, `programs.create` and so on.
"""
