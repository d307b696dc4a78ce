"""Generated logs, of which it is known how the clicks come about: a module per log, and what they
share: random streams (`streams`), drawing and writing (`log`), reading (`reader`)."""
