#!/usr/bin/env python
"""Runs the management commands of the application; what a user can mend is said in one sentence."""

import os
import sys


def main() -> None:
    """Hand the command line to Django."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "assessments.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
        from django.db.utils import DatabaseError
    except ImportError:
        sys.exit("Django is not installed here. Run 'make install' and use .venv/bin/python, or activate .venv.")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"error: {error}")
    except DatabaseError as error:
        sys.exit(f"error: the database says: {error}. If it is new or older than the program, run: manage.py migrate")
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing more can be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
