# SPDX-License-Identifier: Apache-2.0
# In the guest: a client in Python, whose only transport is a file descriptor,
# calls over the device and over TCP.
set -e
export PYTHONPATH=/root/client PYTHONDONTWRITEBYTECODE=1
python3 /root/client/edu_client.py /dev/lanecall0
python3 /root/client/edu_client.py "$1"
