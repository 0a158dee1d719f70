"""The maturity model and the engine that scores it: no Django, no network, no clock."""
