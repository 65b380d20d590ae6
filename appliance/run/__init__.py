"""The whole appliance on one machine without systemd: ``make run``. In the image systemd units do this."""
