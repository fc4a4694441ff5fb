"""Cards for Teams, from the event to the webhook.

``events`` stores what people should hear, in the transaction that makes it true; ``outbox``
sends it afterwards; ``cards`` and ``links`` turn an event into a message; ``teams`` is the
only code that knows the webhook.
"""
