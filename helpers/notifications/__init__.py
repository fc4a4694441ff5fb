"""Cards for Teams, from the event to the webhook.

``events`` stores what people should hear, in the transaction that makes it true; ``outbox``
sends it afterwards; ``messages`` turns events into messages, of the content, cards and links that
the modules of these names make; ``teams`` is the only code that knows the webhook.
"""
