"""Numbers to text, tables and pictures."""

from n4a_flows.reports.exported import export_markdown, how_to_load
from n4a_flows.reports.figures import predicted_against_measured
from n4a_flows.reports.leaderboard import (
    LeaderboardRow,
    leaderboard_cells,
    leaderboard_markdown,
    markdown_table,
    rank,
)
from n4a_flows.reports.maintenance import Maintenance, maintenance_markdown
from n4a_flows.reports.monitoring_report import agreement_cells, monitoring_html, monitoring_markdown
from n4a_flows.reports.training_report import TrainingReport, training_report
from n4a_flows.storage.exports import Exportable

__all__ = [
    "Exportable",
    "LeaderboardRow",
    "Maintenance",
    "TrainingReport",
    "agreement_cells",
    "export_markdown",
    "how_to_load",
    "leaderboard_cells",
    "leaderboard_markdown",
    "maintenance_markdown",
    "markdown_table",
    "monitoring_html",
    "monitoring_markdown",
    "predicted_against_measured",
    "rank",
    "training_report",
]
