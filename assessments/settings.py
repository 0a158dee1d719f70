"""Settings: one table of environment variables; a wrong value stops the start with a clear message.

Everything runs embedded by default: SQLite, no broker, files under one data folder. The table ``SETTINGS`` is also
what the manual's page on settings is checked against.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent


def _flag(text: str) -> bool:
    if text.lower() not in ("0", "1", "true", "false", "yes", "no"):
        raise ValueError("must be true or false")
    return text.lower() in ("1", "true", "yes")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _folder(text: str) -> Path:
    path = Path(text).expanduser().resolve()
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not os.access(path, os.W_OK):
        raise ValueError(f"{path} is not writable")
    return path


def _database(text: str) -> dict[str, Any]:
    """A database URL as Django's mapping: ``sqlite:///path`` or ``postgres://user:password@host:port/name``."""
    if not text:
        return _sqlite(DATA / "dlemm.sqlite3")
    parts = urlsplit(text)
    if parts.scheme == "sqlite":
        return _sqlite(Path(parts.path[1:]))
    if parts.scheme not in ("postgres", "postgresql"):
        raise ValueError("must start with sqlite:/// or postgres://")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "CONN_MAX_AGE": 60,
    }


def _sqlite(path: Path) -> dict[str, Any]:
    # With Django's own defaults, concurrent writers fail with "database is locked"; with these none do.
    pragmas = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=20000;"
    options = {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": pragmas}
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": path, "OPTIONS": options}


def _secret(text: str) -> str:
    """The given key, or one made at the first start and kept in the data folder, readable by its owner only."""
    if text:
        if len(text) < 32:
            raise ValueError("must have at least 32 characters")
        return text
    path = DATA / "secret_key"
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
    except FileExistsError:
        pass
    return path.read_text()


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable: its name, default, how it is read, and one sentence."""

    name: str
    default: str
    read: Callable[[str], Any]
    meaning: str


SETTINGS = (
    Setting("DLEMM_DATA", str(BASE_DIR / "var"), _folder, "Folder for the database, the evidence and the secret key."),
    Setting("DLEMM_DEBUG", "false", _flag, "Show details of errors in the browser; never on a shared machine."),
    Setting("DLEMM_SECRET_KEY", "", _secret, "Key that signs sessions and encrypts source secrets; made if empty."),
    Setting("DLEMM_DATABASE", "", _database, "sqlite:///path or postgres://user:password@host/name; SQLite if empty."),
    Setting("DLEMM_HOSTS", "*", _names, "Host names the site answers to, comma separated; * is any."),
    Setting("DLEMM_ORIGINS", "", _names, "Origins trusted for forms when a proxy ends TLS, such as https://a.example."),
    Setting("DLEMM_HTTPS", "false", _flag, "The site is served over HTTPS only: secure cookies and HSTS."),
    Setting(
        "DLEMM_BROKER", "memory://", str, "Message broker for jobs, such as redis://host:6379/0; embedded if not set."
    ),
    Setting("DLEMM_TIME_ZONE", "UTC", str, "Time zone in which times are shown."),
    Setting("DLEMM_ALLOW_PRIVATE", "true", _flag, "Sources may stand on loopback and private networks."),
    Setting("DLEMM_FOLDERS", "", _names, "Folders of this machine that sources may read, separated by commas."),
)


def _read(setting: Setting) -> Any:
    value = os.environ.get(setting.name, setting.default)
    try:
        return setting.read(value)
    except (ValueError, OSError) as error:
        raise ImproperlyConfigured(f"{setting.name}={value!r}: {error}. {setting.meaning}") from error


DATA: Path = _read(SETTINGS[0])
_VALUES = {setting.name: _read(setting) for setting in SETTINGS[1:]}

DEBUG: bool = _VALUES["DLEMM_DEBUG"]
SECRET_KEY: str = _VALUES["DLEMM_SECRET_KEY"]
ALLOWED_HOSTS: list[str] = _VALUES["DLEMM_HOSTS"]
CSRF_TRUSTED_ORIGINS: list[str] = _VALUES["DLEMM_ORIGINS"]
HTTPS: bool = _VALUES["DLEMM_HTTPS"]
ALLOW_PRIVATE_SOURCES: bool = _VALUES["DLEMM_ALLOW_PRIVATE"]
LADDERS = DATA / "ladder"
"""Where the site keeps ladders of the reference pipeline; their repositories may be read as sources."""
SOURCE_FOLDERS: list[str] = [*_VALUES["DLEMM_FOLDERS"], str(LADDERS)]
DATABASES = {"default": _VALUES["DLEMM_DATABASE"]}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "csp",
    "rest_framework",
    "assessments.organisations",
    "assessments.jobs",
    "assessments.evidence",
    "assessments.ratings",
    "assessments.reports",
    "assessments.web",
    "assessments.api",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "assessments.web.context.site",
            ],
        },
    },
]
ROOT_URLCONF = "assessments.urls"
WSGI_APPLICATION = "assessments.wsgi.application"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "sign-in"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LOCALE_PATHS = [BASE_DIR / "templates" / "locale"]
USE_TZ = True
TIME_ZONE: str = _VALUES["DLEMM_TIME_ZONE"]

STATIC_URL = "static/"
STATIC_ROOT = _folder(str(DATA / "static"))
WHITENOISE_USE_FINDERS = True  # no collectstatic step for someone who just starts the site

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_AGE = 12 * 3600
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_SSL_REDIRECT = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}
CELERY_BROKER_URL: str = _VALUES["DLEMM_BROKER"]
JOBS_IN_CHILD = CELERY_BROKER_URL == "memory://"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"polling_interval": 0.05} if CELERY_BROKER_URL == "memory://" else {}
CELERY_TASK_IGNORE_RESULT = True
# A word that nobody took before the next one comes is thrown away, so that they never pile up.
CELERY_BEAT_SCHEDULE = {
    "collect-due": {"task": "assessments.collect_due", "schedule": 60.0, "options": {"expires": 55}},
}
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA / "beat-schedule")
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_REDIRECT_STDOUTS = False  # an embedded worker would swallow the site's own output

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    # The embedded broker has no host name, and Celery's client warns of that each time.
    "loggers": {"kombu.connection": {"level": "ERROR"}},
}
