"""What people see: reports rendered as HTML where HTML is shown, and as plain text elsewhere.

Rendering only: it decides nothing and reads nothing. Every value is escaped by the template
engine, and cleaned of what steers terminals.
"""

from helpers.display.progress import Progress, progress
from helpers.display.rendering import Report, duration, labels, moment
from helpers.display.tone import Tone, tone_of

__all__ = ["Progress", "Report", "Tone", "duration", "labels", "moment", "progress", "tone_of"]
