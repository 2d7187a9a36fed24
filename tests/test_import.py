"""What `import llmfleet` costs. Proves that the bare package stays out of the way; extras are another matter."""

import subprocess
import sys

HEAVY = ("pulumi", "pulumi_aws", "pulumi_gcp", "pulumi_azure_native", "pulumi_kubernetes", "boto3", "nats", "aiohttp")


def test_importing_llmfleet_loads_nothing_heavy_and_takes_no_time():
    program = (
        "import sys, time; began = time.process_time(); import llmfleet;"
        f"print(time.process_time() - began, *[name for name in {HEAVY} if name in sys.modules])"
    )
    runs = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True) for _ in "123"]
    seconds, *loaded = min((run.stdout.split() for run in runs), key=lambda words: float(words[0]))
    assert loaded == []
    assert float(seconds) < 0.1, "CPU seconds, the best of three"


def test_the_command_line_loads_neither_pulumi_nor_the_data_plane():
    program = f"import sys, llmfleet.cli; print(*[name for name in {HEAVY} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
