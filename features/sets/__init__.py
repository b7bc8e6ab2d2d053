"""Feature sets: one file, one set, one Ibis expression over a view of the past.

A set is a class with ``config``, ``columns()`` and ``build(view)``. ``build`` returns one row for
each ``(customer_id, cutoff)`` that has something to say, with exactly the declared columns; the
snapshot fills the others with what each column declares for a customer without rows.
"""
