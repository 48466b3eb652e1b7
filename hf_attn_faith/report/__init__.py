MEGABYTES = 5.0  # of report.html; here, where the command finds it without loading what draws the page
