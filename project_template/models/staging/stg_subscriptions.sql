select
    subscription_id,
    account_id,
    {{ plan_label('plan') }} as plan,
    {{ status_label('status') }} as status,
    {{ cents('mrr_cents') }} as mrr,
    seats,
    start_date,
    end_date,
    auto_renew,
    {{ blank('notes') }} as notes
from {{ ref('billing_subscriptions') }}
