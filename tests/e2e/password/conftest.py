from support.scenario import *  # noqa: F403
