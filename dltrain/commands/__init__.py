"""The verbs, one thin file each: ``add_arguments(parser)`` and ``run(arguments) -> exit code``."""
