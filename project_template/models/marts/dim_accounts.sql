-- One row per account, with what sales should see of its subscriptions.
with usage as (

    select
        account_id,
        count(*) as subscriptions,
        count(case when status = 'Active' then 1 end) as active,
        count(case when status = 'Past_Due' then 1 end) as past_due,
        max(case when status <> 'Cancelled' then
            case plan when 'Enterprise' then 3 when 'Growth' then 2 when 'Starter' then 1 end
        end) as best_plan
    from {{ ref('stg_subscriptions') }}
    group by account_id

)

select
    accounts.account_id,
    accounts.account_name,
    accounts.phone,
    accounts.website,
    accounts.industry,
    accounts.employees,
    accounts.annual_revenue,
    accounts.street,
    accounts.city,
    accounts.postal_code,
    accounts.country,
    accounts.description,
    accounts.customer_since,
    accounts.last_seen,
    accounts.nps,
    case usage.best_plan when 3 then 'Enterprise' when 2 then 'Growth' when 1 then 'Starter' else 'Free' end as tier,
    -- 0 to 100. No clock and no random numbers in here: a model must give the same rows until the data
    -- change, or every run would find differences.
    cast(
        least(100, greatest(0,
            50 + 40.0 * coalesce(usage.active, 0) / coalesce(usage.subscriptions, 1)
            - 20 * coalesce(usage.past_due, 0) + coalesce(accounts.nps, 0)
        )) as decimal(5, 2)
    ) as health_score
from {{ ref('stg_accounts') }} as accounts
left join usage on usage.account_id = accounts.account_id
