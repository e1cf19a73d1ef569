"""Log lines that neither raise nor wait: a line that can't be written is lost, and stops nothing.

Here: loggers, the writer behind them, and the form of values in a line.
Not here: which lines there are, and how an application sets them up.
Imports: no other room.
"""
