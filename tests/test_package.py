import subprocess
import sys


def test_importing_the_library_does_not_import_what_only_reports_need():
    check = "import sys, dfcl_jax; sys.exit(any(m in sys.modules for m in ('matplotlib', 'tyro')))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
