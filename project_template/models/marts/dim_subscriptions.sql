-- The subscriptions that belong into the CRM. A row that leaves this model is deleted in Salesforce,
-- because syncs/subscriptions.yml says on_removed: delete.
select
    subscription_id,
    plan || ' ' || subscription_id as subscription_name,
    account_id,
    plan,
    status,
    mrr,
    seats,
    start_date,
    end_date,
    auto_renew,
    notes
from {{ ref('stg_subscriptions') }}
where status <> 'Cancelled' or end_date >= date '{{ var("cancelled_since") }}'
