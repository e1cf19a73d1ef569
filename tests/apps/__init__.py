"""Apps for workers that run in processes of their own: `headrace worker tests.apps.everyday:app`."""
