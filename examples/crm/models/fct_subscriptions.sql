select
    subscription_id,
    company_id,
    product_id,
    billing_contact_id,
    upper(left(status, 1)) || substr(status, 2) as status,
    seats,
    start_date,
    -- Renewals are worked on by a queue, whoever sold them.
    'Support_Queue' as queue
from {{ ref('subscriptions') }}
