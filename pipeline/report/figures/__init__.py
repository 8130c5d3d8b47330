"""The pictures of a report, each drawn by matplotlib as inline SVG in the page's colours."""
