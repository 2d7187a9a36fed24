"""The local environment: the same fleet as on a cloud, as processes of this machine."""
