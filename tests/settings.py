"""The application's own settings, over a data folder of the test run's own and with a quick password hasher."""

import atexit
import os
import shutil
import tempfile

_folder = tempfile.mkdtemp(prefix="dlemm-tests-")
os.environ["DLEMM_DATA"] = _folder
atexit.register(shutil.rmtree, _folder, ignore_errors=True)

from assessments.settings import *  # noqa: E402, F403

JOBS_IN_CHILD = False  # the test database lives in this process
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
