"""The bundled reference pipeline: a small but real road from data to a watched model in service.

It is a process of its own and reaches the product only through an MLflow server, like the pipeline of any team.
Run it with ``python -m integrations.reference``.
"""
