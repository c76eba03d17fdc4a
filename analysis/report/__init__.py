"""The report: runs as one HTML page that opens from disk and asks the network for nothing.

`analysis.report.page.page(runs)` makes it. It needs the extra `report`: jinja2 and bokeh.
"""
