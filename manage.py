#!/usr/bin/env python
"""Runs the management commands of the application."""

import os
import sys


def main() -> None:
    """Hand the command line to Django."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "assessments.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit("Django is not installed here. Run 'make install' and use .venv/bin/python, or activate .venv.")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
